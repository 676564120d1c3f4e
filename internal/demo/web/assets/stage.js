// The two <video>s of the stage. One is shown, and has the id "video"; the other, "spare",
// plays behind it, without sound, what is to be shown next.

export class Stage {
  // shown is the one that is seen, heard the one that has the page's sound.
  constructor(shown, spare) {
    this.shown = shown;
    this.heard = shown;
    this.spare = spare;
  }

  // hear has video be heard, as loud as the other one was.
  hear(video) {
    if (video === this.heard) return;
    const { muted, volume } = this.heard;
    this.heard.muted = true;
    this.heard = video;
    Object.assign(video, { muted, volume });
    // A browser that wants a click for the sound of each <video> pauses this one.
    if (!muted && video.paused) {
      video.muted = true;
      video.play().catch(() => {});
    }
  }

  // show has a view be seen and heard.
  show(view) {
    if (this.#pinned) { // what it plays has to change, and not its place
      view.playOn(this.shown);
    } else if (view.video === this.spare) {
      [this.shown, this.spare] = [this.spare, this.shown];
      for (const [video, id] of [[this.shown, 'video'], [this.spare, 'spare']]) {
        video.id = id;
        video.classList.toggle('spare', id === 'spare');
        video.ariaHidden = String(id === 'spare');
      }
    }
    this.hear(this.shown);
  }

  // pinned reports whether the browser shows the <video> outside of the page.
  get #pinned() {
    return document.pictureInPictureElement === this.shown || Boolean(this.shown.webkitDisplayingFullscreen);
  }
}
