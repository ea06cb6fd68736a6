// Links to this page as it is: one to share, one for a class, with a task and without what would distract from it.

class Links {
  constructor(root) {
    this.said = null;
    const bar = buttons(root, [["Copy link", () => this.copy(this.address())], ["Lesson link", () => this.open()]]);
    this.panel = make(root, "div", { class: "lv-panel", hidden: "" });
    this.said = make(bar, "span", { "aria-live": "polite", class: "said" });
    make(this.panel, "label", { text: "Task for the class", for: "lv-task" });
    this.task = make(this.panel, "textarea", { id: "lv-task", rows: 2, maxlength: 300, oninput: () => this.show() });
    this.boxes = make(this.panel, "fieldset");
    make(this.panel, "label", { text: "Link", for: "lv-link" });
    this.link = make(this.panel, "input", { id: "lv-link", readonly: "", onfocus: () => this.link.select() });
    buttons(this.panel, [["Copy lesson link", () => this.copy(this.link.value)]]);
  }
  update(component) {
    if (this.boxes.childElementCount) return;
    make(this.boxes, "legend", { text: "Hide" });
    for (const [name, words] of Object.entries(component.data.parts)) {
      const line = make(this.boxes, "label");
      make(line, "input", { type: "checkbox", value: name, onchange: () => this.show() });
      make(line, "span", { text: words });
    }
  }
  /** The address of the page as it is; v says for which version of the app it was made. */
  address(more = {}) {
    const url = new URL(location.href);
    for (const name of ["task", "hide", "lesson"]) url.searchParams.delete(name);
    for (const [name, value] of Object.entries({ ...more, v: 1 })) if (value) url.searchParams.set(name, value);
    return url.href;
  }
  open() { this.panel.hidden = !this.panel.hidden; this.show(); }
  show() {
    const hide = [...this.boxes.querySelectorAll("input:checked")].map((box) => box.value).join(",");
    this.link.value = this.address({ task: this.task.value.trim(), hide });
  }
  async copy(text) {
    try { await navigator.clipboard.writeText(text); this.said.textContent = "Copied."; }
    catch { // no clipboard on plain http: let the visitor copy by hand
      this.panel.hidden = false; this.link.value = text; this.link.select();
      this.said.textContent = "Your browser does not let pages copy: take it from the field.";
    }
  }
}
export default function (component) { picture(component, Links); }
