"""aiortc as a client: "publish URL", "play URL" or "watch URL". See client_test.go.

To watch is to play, and to tell more, four times a second."""

import asyncio
import json
import platform
import sys
import time

import aiohttp
import aioice
import aiortc
from aiortc.contrib.media import MediaStreamError
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from cryptography.hazmat.backends.openssl.backend import backend as openssl


def say(**what):
    print(json.dumps(what), flush=True)


class Moving(VideoStreamTrack):
    """A picture whose brightness changes."""

    count = 0

    async def recv(self):
        frame = await super().recv()
        Moving.count += 1
        for plane in frame.planes:
            plane.update(bytes([16 + Moving.count % 200]) * plane.buffer_size)
        return frame


counts = {"video": 0, "audio": 0, "width": 0}
shown = {"height": 0, "frames": []}  # since the last report: when, in ms


async def take(track):
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        counts[track.kind] += 1
        if track.kind == "video":
            counts["width"] = frame.width
            shown["height"] = frame.height
            shown["frames"].append(round(time.time() * 1000))


async def report(pc):
    while True:
        say(state=pc.connectionState, **counts)
        await asyncio.sleep(0.2)


async def tell(pc):
    while True:
        sample = {"t": time.time() * 1000, "state": pc.connectionState, "decoded": counts["video"], "height": shown["height"]}
        for s in (await pc.getStats()).values():
            if s.type == "inbound-rtp":
                names = ("packets", "lost") if s.kind == "video" else ("audioPackets", "audioLost")
                sample.update(zip(names, (s.packetsReceived, s.packetsLost)))
            elif s.type == "transport":
                sample["bytes"] = s.bytesReceived
        frames, shown["frames"] = shown["frames"], []
        say(samples=[sample], frames=frames)
        await asyncio.sleep(0.25)


async def main(action, url):
    say(version=f"aiortc {aiortc.__version__}, aioice {aioice.__version__}, "
        f"{openssl.openssl_version_text()}, Python {platform.python_version()}")
    pc = aiortc.RTCPeerConnection()
    tasks = []
    if action == "publish":
        pc.addTransceiver(Moving(), direction="sendonly")
        pc.addTransceiver(AudioStreamTrack(), direction="sendonly")
    else:
        @pc.on("track")
        def on_track(track):
            tasks.append(asyncio.ensure_future(take(track)))
        pc.addTransceiver("video", direction="recvonly")
        pc.addTransceiver("audio", direction="recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    async with aiohttp.ClientSession() as http:
        async with http.post(url, data=pc.localDescription.sdp, headers={"Content-Type": "application/sdp"}) as answer:
            text = await answer.text()
            if answer.status != 201:
                sys.exit(f"{answer.status} {text}")
            resource = str(answer.url.join(type(answer.url)(answer.headers["Location"])))
        await pc.setRemoteDescription(aiortc.RTCSessionDescription(sdp=text, type="answer"))
        tasks.append(asyncio.ensure_future(tell(pc) if action == "watch" else report(pc)))
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the test closes it
        for task in tasks:
            task.cancel()
        async with http.delete(resource) as gone:
            say(deleted=gone.status)
    await pc.close()


asyncio.run(main(*sys.argv[1:3]))
