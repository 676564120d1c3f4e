"""GStreamer's webrtcbin (libnice, OpenSSL) as a client: "publish URL" or "play URL".
See client_test.go."""

import json
import sys
import threading
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

PUBLISH = """
webrtcbin name=rtc bundle-policy=max-bundle
videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1
 ! vp8enc deadline=1 cpu-used=8 keyframe-max-dist=60 ! rtpvp8pay picture-id-mode=15-bit
 ! application/x-rtp,media=video,encoding-name=VP8,payload=96 ! rtc.
audiotestsrc is-live=true wave=silence ! audioconvert ! audioresample ! opusenc ! rtpopuspay
 ! application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! rtc.
"""
PLAY = {
    "video": "application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000,rtcp-fb-nack-pli=true",
    "audio": "application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000,encoding-params=(string)2",
}
SINKS = {
    "VP8": "rtpvp8depay ! vp8dec ! fakesink name=sink sync=false",
    "OPUS": "rtpopusdepay ! opusdec ! fakesink name=sink sync=false",
}


def say(**what):
    print(json.dumps(what), flush=True)


def description(kind, text):
    _, sdp = GstSdp.SDPMessage.new_from_text(text)
    return GstWebRTC.WebRTCSessionDescription.new(getattr(GstWebRTC.WebRTCSDPType, kind), sdp)


class Client:
    def __init__(self, action, url):
        self.action, self.url, self.resource = action, url, None
        self.counts = {"video": 0, "audio": 0, "width": 0}
        if action == "publish":
            self.pipeline = Gst.parse_launch(PUBLISH)
            self.rtc = self.pipeline.get_by_name("rtc")
        else:
            self.pipeline = Gst.Pipeline.new()
            self.rtc = Gst.ElementFactory.make("webrtcbin")
            self.rtc.set_property("bundle-policy", "max-bundle")
            self.pipeline.add(self.rtc)
        self.rtc.connect("notify::ice-gathering-state", self.gathering)
        if action == "publish":
            self.pipeline.set_state(Gst.State.PLAYING)
            for index in range(2):
                transceiver = self.rtc.emit("get-transceiver", index)
                transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
            self.offer()  # before the payloaders have said what they send: it has no a=ssrc
        else:
            self.pipeline.set_state(Gst.State.READY)
            self.rtc.connect("pad-added", self.incoming)
            for caps in PLAY.values():
                self.rtc.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, Gst.Caps.from_string(caps))
            self.pipeline.set_state(Gst.State.PLAYING)
            self.offer()

    def offer(self, *_):
        self.rtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offered, None))

    def offered(self, promise, _):
        promise.wait()
        reply = promise.get_reply()  # which owns the offer
        offer = description("OFFER", reply.get_value("offer").sdp.as_text())
        self.rtc.emit("set-local-description", offer, Gst.Promise.new())

    def gathering(self, *_):
        if self.rtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            threading.Thread(target=self.signal, daemon=True).start()

    def signal(self):
        sdp = self.rtc.get_property("local-description").sdp.as_text()
        request = urllib.request.Request(self.url, sdp.encode(), {"Content-Type": "application/sdp"}, method="POST")
        try:
            with urllib.request.urlopen(request) as answer:
                self.resource = urllib.parse.urljoin(self.url, answer.headers["Location"])
                text = answer.read().decode()
        except urllib.error.HTTPError as e:
            print(e.code, e.read().decode(), file=sys.stderr)
            loop.quit()
            return
        self.rtc.emit("set-remote-description", description("ANSWER", text), Gst.Promise.new())
        if self.action == "publish":
            for pad in self.rtc.sinkpads:
                self.count(pad, "video" if pad.get_current_caps().get_structure(0).get_string("media") == "video" else "audio", True)

    def incoming(self, _, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        caps = pad.get_current_caps().get_structure(0)
        sink = Gst.parse_bin_from_description(SINKS[caps.get_string("encoding-name")], True)
        self.pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))
        self.count(sink.get_by_name("sink").get_static_pad("sink"), caps.get_string("media"), False)

    def count(self, pad, kind, markers):
        def seen(pad, info):
            buffer = info.get_buffer()
            if kind == "video" and markers and not buffer.has_flags(Gst.BufferFlags.MARKER):
                return Gst.PadProbeReturn.OK
            self.counts[kind] += 1
            if kind == "video" and not markers:
                self.counts["width"] = pad.get_current_caps().get_structure(0).get_value("width")
            return Gst.PadProbeReturn.OK

        pad.add_probe(Gst.PadProbeType.BUFFER, seen)

    def report(self):
        state = self.rtc.get_property("connection-state").value_nick
        say(state=state, **self.counts)
        return True


def until_end(client):
    sys.stdin.read()  # until the test closes it
    if client.resource:
        with urllib.request.urlopen(urllib.request.Request(client.resource, method="DELETE")) as gone:
            say(deleted=gone.status)
    GLib.idle_add(loop.quit)  # in the loop, which may not run yet


Gst.init(None)
loop = GLib.MainLoop()
say(version=f"{Gst.version_string()}, Python {sys.version.split()[0]}")
it = Client(*sys.argv[1:3])
GLib.timeout_add(200, it.report)
threading.Thread(target=until_end, args=(it,), daemon=True).start()
loop.run()
it.pipeline.set_state(Gst.State.NULL)
