// A Confirmation asks whether a node is really to be killed.

export class Confirmation {
  #dialog;

  constructor(dialog) { this.#dialog = dialog; }

  // ask resolves with what the person says: when it is said, and not with the close event, which
  // comes some time after the dialog has closed. A button that waited for that would not answer
  // when it is pressed again at once.
  ask(name) {
    const dialog = this.#dialog;
    dialog.returnValue = '';
    dialog.querySelector('.name').textContent = name;
    dialog.showModal(); // the focus goes to Cancel, and back to the button in the end
    return new Promise((resolve) => {
      const said = new AbortController();
      const say = (yes) => { said.abort(); resolve(yes); };
      dialog.addEventListener('cancel', () => say(false), { signal: said.signal });
      dialog.addEventListener('submit', (e) => say(e.submitter?.value === 'kill'), { signal: said.signal });
    });
  }
}
