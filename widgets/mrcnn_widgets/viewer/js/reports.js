// @ts-check
// What the kernel hears of what the user does.

export const REPORT_MS = 80; // the kernel hears of the pointer at most this often

export class Reports {
  /** @param {import("./model.js").Model} model */
  constructor(model) {
    this.model = model;
    /** @type {ReturnType<typeof setTimeout> | 0} */
    this.timer = 0;
  }

  /**
   * Tells the model, and the kernel at most every `wait` milliseconds.
   * @param {string} name @param {any} value @param {number} wait
   */
  tell(name, value, wait = 0) {
    this.model.set(name, value);
    if (wait && this.timer) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.model.save_changes();
    }, wait);
  }

  /** @param {string} name @param {import("./picking.js").Pick | null | undefined} pick @param {number} wait */
  tellPick(name, pick, wait = 0) {
    this.tell(name, pick ? [pick.layer.name, pick.row] : null, wait);
  }

  end() {
    clearTimeout(this.timer);
  }
}
