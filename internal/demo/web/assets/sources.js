// What can be published: a camera with a microphone, a screen, or a drawn clock. The
// devices that a person chose are remembered by the browser.

import { el } from './format.js';
import { Scene } from './scene.js';
import { devices as sentences } from './sentences.js';

const kinds = { camera: 'videoinput', microphone: 'audioinput' };
const none = 'none'; // for a microphone

// openSource returns { media, scene }: a MediaStream, and the Scene that draws it, if one
// does. request: source, camera and microphone (device ids, "" for the browser's choice, and
// "none" for no sound), simulcast, stereo.
export async function openSource({ source, camera, microphone, simulcast, stereo }) {
  if (source === 'canvas') {
    const scene = new Scene();
    return { media: scene.start(simulcast ? 2 : 1), scene };
  }
  const { mediaDevices } = navigator;
  if (!mediaDevices) throw new Error(sentences.insecure);
  if (source === 'screen') {
    return { media: await mediaDevices.getDisplayMedia({ video: { frameRate: 30 }, audio: microphone !== none }), scene: null };
  }
  const as = (id) => (id ? { deviceId: { exact: id } } : {});
  const sound = stereo ? { channelCount: 2, echoCancellation: false, noiseSuppression: false, autoGainControl: false } : {};
  const media = await mediaDevices.getUserMedia({
    video: { ...as(camera), width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
    audio: microphone === none ? false : { ...as(microphone), ...sound },
  });
  return { media, scene: null };
}

// A Choice is the two <select>s of devices.
export class Choice {
  #selects;

  constructor(camera, microphone) {
    this.#selects = { camera, microphone };
    for (const [name, select] of Object.entries(this.#selects)) {
      select.addEventListener('change', () => remember(name, select.value));
    }
    navigator.mediaDevices?.addEventListener('devicechange', () => this.list());
  }

  get camera() { return this.#selects.camera.value; }

  get microphone() { return this.#selects.microphone.value; }

  // list fills the <select>s. Names are known once a person has let the page use a device.
  async list() {
    const all = await navigator.mediaDevices?.enumerateDevices().catch(() => []) ?? [];
    for (const [name, select] of Object.entries(this.#selects)) {
      const found = all.filter(({ kind, deviceId }) => kind === kinds[name] && deviceId && deviceId !== 'default');
      const wanted = select.value || recall(name);
      select.replaceChildren(
        el('option', { value: '', textContent: `The browser's choice` }),
        ...found.map(({ deviceId, label }, i) => el('option', { value: deviceId, textContent: label || `${name} ${i + 1}` })),
        ...(name === 'microphone' ? [el('option', { value: none, textContent: 'No sound' })] : []),
      );
      select.value = [...select.options].some((o) => o.value === wanted) ? wanted : '';
    }
  }
}

function remember(name, id) {
  try { localStorage.setItem(`delta.${name}`, id); } catch { /* it keeps nothing */ }
}

function recall(name) {
  try { return localStorage.getItem(`delta.${name}`) ?? ''; } catch { return ''; }
}
