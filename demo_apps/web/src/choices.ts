// Groups of radio buttons.

export interface Choice {
  value: string;
  label: string;
  /** Second line, where there is a picture. */
  detail?: string;
  picture?: string;
  /** Why it cannot be had here, or "". */
  lacking?: string;
}

export class Choices {
  constructor(private readonly parent: HTMLElement, private readonly onChange: (value: string) => void) {}

  /** Put the choices there in place of what was there. */
  fill(choices: Choice[], selected: string): void {
    const { parent } = this;
    const focused = parent.contains(document.activeElement);
    parent.replaceChildren(...choices.map((choice) => this.row(choice, choice.value === selected)));
    const checked = parent.querySelector<HTMLInputElement>("input:checked");
    if (focused) checked?.focus({ preventScroll: true }); // the keyboard stays where it was
    const row = checked?.parentElement;
    if (row) parent.scrollLeft = row.offsetLeft - parent.offsetLeft - (parent.clientWidth - row.offsetWidth) / 2;
  }

  set disabled(disabled: boolean) {
    for (const input of this.parent.querySelectorAll("input")) input.disabled = disabled;
  }

  private row({ value, label, detail, picture, lacking }: Choice, checked: boolean): HTMLElement {
    const row = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: this.parent.id || "style", value, checked });
    input.addEventListener("change", () => this.onChange(value));
    row.append(input);
    if (picture) row.append(Object.assign(document.createElement("img"), { src: picture, alt: "", width: 96, height: 96 }));
    row.append(Object.assign(document.createElement("span"), { className: "label", textContent: label }));
    if (detail) row.append(Object.assign(document.createElement("span"), { className: "detail", textContent: detail }));
    if (lacking) Object.assign(row, { title: lacking, className: "lacking" });
    return row;
  }
}
