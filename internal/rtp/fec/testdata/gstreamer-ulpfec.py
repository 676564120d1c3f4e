"""Writes gstreamer-ulpfec.rfc4571: what GStreamer's encoder of ULPFEC sends."""

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

Gst.init(None)
pipeline = Gst.parse_launch("""
videotestsrc num-buffers=30 pattern=snow ! video/x-raw,width=96,height=64,framerate=30/1
 ! vp8enc deadline=1 target-bitrate=150000 keyframe-max-dist=10
 ! rtpvp8pay mtu=250 picture-id-mode=15-bit ssrc=3735928559 seqnum-offset=65500
 ! rtpulpfecenc pt=122 percentage=50 ! rtpredenc pt=121 allow-no-red-blocks=true
 ! appsink name=sink sync=false
""")
pipeline.set_state(Gst.State.PLAYING)
with open("gstreamer-ulpfec.rfc4571", "wb") as file:
    while sample := pipeline.get_by_name("sink").emit("pull-sample"):
        packet = sample.get_buffer().extract_dup(0, sample.get_buffer().get_size())
        file.write(len(packet).to_bytes(2, "big") + packet)
pipeline.set_state(Gst.State.NULL)
