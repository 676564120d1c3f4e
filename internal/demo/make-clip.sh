#!/bin/sh
# Makes countdown.ivf and countdown.ogg: the 20 s clip that this package embeds.
# Needs ffmpeg with libvpx, libopus and freetype, and the DejaVu fonts
# (Debian: ffmpeg fonts-dejavu-core). Takes about a minute.
set -eu
cd "$(dirname "$0")"

seconds=20
fps=30
frames=$((seconds * fps))
last=$((frames - 1))
bold=${FONT_BOLD:-/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf}
sans=${FONT_SANS:-/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf}

# The picture. Everything that moves has a period that divides the clip, so
# that the last frame leads into the first one:
#   back  a slow wash of blue and green, computed small and scaled up
#   ring  a dial that fills once a second, as on a film leader
#   bars  a strip of colour bars that scrolls by: lost frames show as a jerk
#   text  seconds and tenths that are left, and the number of the frame
back="nullsrc=s=160x90:r=$fps:d=$seconds,format=yuv444p,geq=\
lum='44+16*sin(X/40+2*PI*T/$seconds)+10*cos(Y/22-4*PI*T/$seconds)':\
cb='142+10*sin(X/50-2*PI*T/$seconds)':\
cr='116+8*cos(Y/30+2*PI*T/$seconds)',scale=640:360:flags=bicubic"
dial="nullsrc=s=280x280:r=$fps:d=$seconds,format=gray,geq=lum='\
255*clip(7-abs(hypot(X-140,Y-140)-128),0,1)*\
(0.16+0.84*lt(mod(atan2(X-140,140-Y)+2*PI,2*PI),2*PI*(mod(N,$fps)+1)/$fps))'"
bars="pal75bars=s=640x24:r=$fps:d=$seconds,scroll=h=1/$((fps * 4))"
left="($last-n)"
text="drawtext=fontfile=$bold:fontcolor=white:fontsize=92:x=(w-tw)/2:y=104-(ascent-92)/2:\
text='%{eif\\:trunc($left/$fps)\\:d\\:2}.%{eif\\:mod(trunc($left*10/$fps)\\,10)\\:d}',\
drawtext=fontfile=$bold:fontcolor=white@0.75:fontsize=20:x=(w-tw)/2:y=218:\
text='%{eif\\:n\\:d\\:3} / $frames',\
drawtext=fontfile=$sans:fontcolor=white@0.85:fontsize=20:x=24:y=22:text='delta'"

ffmpeg -hide_banner -loglevel error -nostdin -y -filter_complex "\
$back[back];\
color=c=0x7fe7d2:s=280x280:r=$fps:d=$seconds[ink];$dial[mask];[ink][mask]alphamerge[ring];\
$bars[bars];\
[back][ring]overlay=x=180:y=28:shortest=1[a];[a][bars]overlay=x=0:y=336:shortest=1,$text,format=yuv420p" \
	-frames:v "$frames" -r "$fps" \
	-c:v libvpx -b:v 470k -maxrate 620k -bufsize 620k -g "$fps" -keyint_min "$fps" \
	-auto-alt-ref 0 -lag-in-frames 0 -quality good -cpu-used 0 -threads 1 \
	-fflags +bitexact -flags:v +bitexact countdown.ivf

# The sound: a tick each second, by turns on the left and on the right, so
# that stereo can be heard, and a longer, higher one on both sides for the
# last second.
tick="0.35*sin(2*PI*880*t)*exp(-30*mod(t\,1))*min(1\,mod(t\,1)*400)"
end="0.35*sin(2*PI*1320*t)*exp(-5*mod(t\,1))*min(1\,mod(t\,1)*400)*min(1\,max(0\,($seconds-t)*40))"
final="gte(t\,$seconds-1)*lt(t\,$seconds)*$end"
side() { echo "lt(t\,$seconds-1)*(0.15+0.85*eq(mod(floor(t)\,2)\,$1))*$tick+$final"; }

# One packet a page, and exactly as many 20 ms packets as the video is long:
# the encoder's look-ahead would add one at the end.
whole=$(mktemp --suffix=.ogg)
trap 'rm -f "$whole"' EXIT
ffmpeg -hide_banner -loglevel error -nostdin -y \
	-f lavfi -i "aevalsrc=exprs='$(side 0)|$(side 1)':s=48000:c=stereo:d=$((seconds + 1))" \
	-c:a libopus -b:a 96k -vbr on -application audio -frame_duration 20 "$whole"
ffmpeg -hide_banner -loglevel error -nostdin -y -i "$whole" -c copy \
	-frames:a $((seconds * 50)) -page_duration 20000 \
	-fflags +bitexact -flags:a +bitexact countdown.ogg

ls -l countdown.ivf countdown.ogg
