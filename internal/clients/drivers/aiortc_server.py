"""aiortc as a server: WHEP at /whep/…, which plays a clip, and WHIP at /whip/…, which
decodes what comes. It prints its URL first. See server_test.go."""

import asyncio
import json
import sys

import aiohttp.web
import aiortc
from aiortc.contrib.media import MediaStreamError
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack


def say(**what):
    print(json.dumps(what), flush=True)


counts = {"video": 0, "audio": 0, "width": 0, "deleted": 0}
sessions = {}


async def take(track):
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        counts[track.kind] += 1
        if track.kind == "video":
            counts["width"] = frame.width


async def offer(request):
    pc = aiortc.RTCPeerConnection()
    tasks = []
    if request.path.startswith("/whep/"):
        pc.addTrack(VideoStreamTrack())
        pc.addTrack(AudioStreamTrack())
    else:
        @pc.on("track")
        def on_track(track):
            tasks.append(asyncio.ensure_future(take(track)))
    await pc.setRemoteDescription(aiortc.RTCSessionDescription(sdp=await request.text(), type="offer"))
    await pc.setLocalDescription(await pc.createAnswer())
    name = str(len(sessions))
    sessions[name] = pc
    return aiohttp.web.Response(
        status=201, text=pc.localDescription.sdp, content_type="application/sdp", headers={"Location": "/session/" + name})


async def delete(request):
    counts["deleted"] += 1
    await sessions[request.match_info["name"]].close()
    return aiohttp.web.Response()


async def report():
    while True:
        say(**counts)
        await asyncio.sleep(0.2)


async def main():
    app = aiohttp.web.Application()
    app.router.add_post("/{kind:whip|whep}/{stream}", offer)
    app.router.add_delete("/session/{name}", delete)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    say(version=f"aiortc {aiortc.__version__}", url=f"http://{host}:{port}")
    task = asyncio.ensure_future(report())
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the test closes it
    task.cancel()
    for pc in sessions.values():
        await pc.close()
    await runner.cleanup()


asyncio.run(main())
