// How other programs publish and play the stream: addresses, settings and commands, each
// to be copied with a button.

import { $ } from './format.js';
import { endpoint } from './signaling.js';

const secret = '"$TOKEN"'; // a token must not stand in a command: others see those

const commands = {
  ffmpeg: (url, withToken) => [
    'ffmpeg -re -i input.mp4',
    '-c:v libx264 -profile:v baseline -preset veryfast -tune zerolatency -bf 0 -g 60 -pix_fmt yuv420p -b:v 2500k',
    '-c:a libopus -ar 48000 -ac 2 -b:a 96k',
    `-f whip ${withToken ? `-authorization ${secret} ` : ''}"${url}"`,
  ],
  gstreamer: (url, withToken) => [
    `gst-launch-1.0 whipclientsink name=out signaller::whip-endpoint="${url}"${withToken ? ` signaller::auth-token=${secret}` : ''}`,
    'videotestsrc is-live=true ! video/x-raw,width=1280,height=720,framerate=30/1 ! videoconvert ! out.',
    'audiotestsrc is-live=true ! audioconvert ! audioresample ! out.',
  ],
};

export class Programs {
  constructor() {
    for (const button of document.querySelectorAll('[data-copy]')) {
      button.addEventListener('click', () => copy(button, $(button.dataset.copy)));
    }
  }

  // show fills all of it for a stream.
  show(stream, withToken) {
    const name = stream || 'live';
    const whip = endpoint('whip', name);
    $('whip-url').textContent = whip;
    $('obs-server').textContent = whip;
    $('obs-token').textContent = withToken ? 'the token above' : 'empty';
    $('whep-url').textContent = endpoint('whep', name);
    for (const [id, lines] of Object.entries(commands)) $(id).textContent = lines(whip, withToken).join(' \\\n  ');
  }
}

// copy puts what a node says into the clipboard, or selects it where that is forbidden.
async function copy(button, node) {
  const status = $('copied');
  try {
    await navigator.clipboard.writeText(node.textContent);
    status.textContent = 'Copied.';
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  } catch {
    getSelection().selectAllChildren(node);
    status.textContent = 'Selected. Press Ctrl+C to copy it.';
  }
}
