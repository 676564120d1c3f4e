package webtest

import (
	"image"
	"math"
)

// The number of a frame is twice in the picture of the countdown clip (demo/make-clip.sh):
// the ring has 30 sectors and fills once a second, and the bars at the bottom go by once
// in 4 seconds. Together they give it, modulo period.
const (
	period = 120
	second = 30 // frames
	sector = 2 * math.Pi / second
)

var bars = [8][3]int{{191, 191, 191}, {191, 191, 0}, {0, 191, 191}, {0, 191, 0}, {191, 0, 191}, {191, 0, 0}, {0, 0, 191}, {0, 0, 0}}

// Step returns how many frames of the clip b comes after a, if that is less than two
// seconds; negative: it comes before.
func Step(a, b int) int { return (b-a+period+period/2)%period - period/2 }

// Countdown returns which frame of the clip a picture shows, modulo 4 seconds, where r is
// what the clip fills of it; false if it does not.
func Countdown(img image.Image, r image.Rectangle) (frame int, ok bool) {
	at := func(x, y float64) [3]int {
		scale := float64(r.Dx()) / 640
		red, green, blue, _ := img.At(r.Min.X+int(math.Round(x*scale)), r.Min.Y+int(math.Round(y*scale))).RGBA()
		return [3]int{int(red >> 8), int(green >> 8), int(blue >> 8)}
	}
	lit := 0
	for k := range second {
		angle := (float64(k) + 0.5) * sector
		if at(320+128*math.Sin(angle), 168-128*math.Cos(angle))[1] < 160 {
			continue
		}
		if lit != k {
			return 0, false
		}
		lit++
	}
	least := math.MaxInt
	for n := lit - 1; n < period && lit > 0; n += second {
		off := 0
		for x := 4.0; x < 640; x += 8 {
			want, is := bars[int(math.Mod(x+float64(n)*640/period, 640)/80)], at(x, 350)
			for c := range want {
				off += max(want[c]-is[c], is[c]-want[c])
			}
		}
		if off < least {
			frame, least = n, off
		}
	}
	return frame, lit > 0
}

// countdown is Countdown in JavaScript: a function of a <video>, that returns null if
// there is none.
const countdown = `(() => {
	const canvas = document.createElement("canvas");
	canvas.width = 640; canvas.height = 360;
	const g = canvas.getContext("2d", {willReadFrequently: true});
	const bars = [[191,191,191],[191,191,0],[0,191,191],[0,191,0],[191,0,191],[191,0,0],[0,0,191],[0,0,0]];
	return video => {
		if (!video.videoWidth) return null;
		g.drawImage(video, 0, 0, 640, 360);
		const {data} = g.getImageData(0, 0, 640, 360);
		const at = (x, y) => data.subarray(4*(640*Math.round(y)+Math.round(x)));
		let lit = 0;
		for (let k = 0; k < 30; k++) {
			const angle = (k+0.5)*Math.PI/15;
			if (at(320+128*Math.sin(angle), 168-128*Math.cos(angle))[1] < 160) continue;
			if (lit++ !== k) return null;
		}
		if (lit === 0) return null;
		let best = null, least = Infinity;
		for (let n = lit-1; n < 120; n += 30) {
			let off = 0;
			for (let x = 4; x < 640; x += 8) {
				const want = bars[Math.floor(((x + n*640/120)%640)/80)], is = at(x, 350);
				for (let c = 0; c < 3; c++) off += Math.abs(want[c]-is[c]);
			}
			if (off < least) [best, least] = [n, off];
		}
		return best;
	};
})()`
