// A Confirmation asks whether a node is really to be killed.

export class Confirmation {
  #dialog;

  constructor(dialog) { this.#dialog = dialog; }

  // ask resolves with what the person says.
  ask(name) {
    const dialog = this.#dialog;
    dialog.returnValue = '';
    dialog.querySelector('.name').textContent = name;
    dialog.showModal(); // the focus goes to Cancel, and back to the button in the end
    return new Promise((resolve) => {
      dialog.addEventListener('close', () => resolve(dialog.returnValue === 'kill'), { once: true });
    });
  }
}
