// The two-way page: one Publisher and one Player beside each other.

import { $, bitrate, millis, showPill, text } from './format.js';
import { fetchStatus, showNode } from './node.js';
import { Player } from './player.js';
import { Publisher } from './publisher.js';
import { states } from './sentences.js';
import { endpoint } from './signaling.js';
import { Choice } from './sources.js';
import { Stage } from './stage.js';
import { keepToken, takeToken } from './token.js';

const query = new URLSearchParams(location.search);
const choice = new Choice($('camera'), $('microphone'));
const stage = new Stage($('video'), $('spare'));
const bases = { whip: '', whep: '' }; // of the nodes that take publishers and viewers; "": this one

// ---- publishing ----

const publisher = new Publisher({
  endpoint: ({ stream }) => endpoint('whip', stream, {}, bases.whip),
  show(state, words, tone, reason) {
    showPill($('publish-state'), words, tone);
    $('publish-panel').dataset.state = state;
    $('publish-reason').textContent = reason;
    $('publish-reason').hidden = !reason;
    lock($('publish-form'), $('publish-start'), $('publish-stop'), publisher.running);
  },
  tell(name, value) {
    if (name === 'media') {
      window.delta.publish.media = value;
      $('preview').srcObject = value;
      if (value) $('preview').play().catch(() => {});
      $('publish-veil').hidden = Boolean(value);
      if (value) choice.list();
    } else if (name === 'stats') {
      $('publish-figures').textContent = value ? line([value.width && `${value.width}×${value.height}`, value.fps && `${value.fps} fps`,
        text(bitrate(value.bitrate)), value.codec]) : 'Nothing is sent.';
    }
  },
});

// ---- playing ----

const player = new Player({
  stage,
  endpoint: (layer) => endpoint('whep', player.stream, { layer }, bases.whep),
  show(state, words, tone, message) {
    showPill($('play-state'), words, tone);
    $('play-panel').dataset.state = state;
    $('message').textContent = message;
    $('veil').hidden = !message;
    $('spinner').hidden = ['idle', 'refused'].includes(state);
    lock($('play-form'), $('play-start'), $('play-stop'), player.wanted);
    showSound();
  },
  tell(name, value) {
    if (name !== 'stats') return;
    $('play-figures').textContent = value ? line([value.width && `${value.width}×${value.height}`, value.fps && `${value.fps} fps`,
      text(bitrate(value.bitrate)), value.codec, value.rtt !== undefined && `${text(millis(value.rtt))} round trip`]) : 'Nothing is received.';
  },
});

window.delta = { publish: publisher.report, play: player.report };

const line = (parts) => parts.filter(Boolean).join(' · ');

// ---- the page ----

function lock(form, start, stop, on) {
  for (const field of form.querySelectorAll('input, select')) field.disabled = on;
  start.disabled = on;
  stop.disabled = !on;
}

function showSound() {
  const { muted } = stage.heard;
  $('mute').textContent = muted ? 'Unmute' : 'Mute';
  $('mute').setAttribute('aria-pressed', String(muted));
}

function publish() {
  keepToken($('token').value);
  return publisher.start({
    stream: $('publish-name').value.trim(), token: $('token').value, source: query.get('source') || 'camera',
    camera: choice.camera, microphone: choice.microphone, codec: '', bitrate: 0, simulcast: false, stereo: false,
  });
}

function play() {
  keepToken($('token').value);
  player.stream = $('play-name').value.trim();
  player.token = $('token').value;
  stage.heard.muted = !navigator.userActivation?.hasBeenActive; // or the browser would not play it
  player.start();
}

// findNodes finds out which nodes take publishers and viewers, if this one does not.
async function findNodes() {
  const status = await fetchStatus().catch(() => null);
  if (!status) return;
  showNode(status);
  const of = (role) => status.peers.find((p) => p.role === role && p.url)?.url ?? '';
  if (!status.can_publish) bases.whip = of('origin');
  if (!status.can_play) bases.whep = of('edge');
}

async function begin() {
  $('publish-name').value = query.get('publish') || 'one';
  $('play-name').value = query.get('play') || 'two';
  $('token').value = takeToken();
  $('message').textContent = states.remote;
  $('publish-form').addEventListener('submit', (event) => { event.preventDefault(); publish(); });
  $('publish-stop').addEventListener('click', () => publisher.stop());
  $('play-form').addEventListener('submit', (event) => { event.preventDefault(); play(); });
  $('play-stop').addEventListener('click', () => player.stop());
  $('mute').addEventListener('click', () => {
    stage.heard.muted = !stage.heard.muted;
    showSound();
  });
  addEventListener('pagehide', () => {
    publisher.stop();
    if (player.wanted) player.stop();
  });
  showSound();
  await Promise.all([findNodes(), choice.list()]);
  if (query.get('autostart') === '1') {
    publish();
    play();
  }
}

begin();
