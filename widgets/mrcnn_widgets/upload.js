// @ts-check
// A button that brings a photo from the user's machine to the kernel.
//
// Jupyter closes the connection when a message is larger than 10 MB, and phones make larger photos.
// So a large one is drawn anew here, as the browser shows it: turned as its EXIF says.

const LARGEST = 8e6;
const LONGEST = 4096;

export default {
  /** @param {{ model: any, el: HTMLElement }} home */
  render({ model, el }) {
    const button = document.createElement("button");
    button.className = "lm-Widget jupyter-widgets jupyter-button widget-button widget-upload";
    button.style.width = "auto";
    button.title = model.get("help");
    button.setAttribute("aria-live", "polite");
    const input = document.createElement("input");
    Object.assign(input, { type: "file", accept: "image/*", hidden: true });
    el.append(button, input);

    /** @param {string} text @param {boolean} [busy] */
    const say = (text, busy = true) => {
      const icon = document.createElement("i");
      icon.className = busy ? "fa fa-spinner fa-spin" : "fa fa-upload";
      button.replaceChildren(icon, ` ${text}`);
      button.disabled = busy;
    };
    const rest = () => say("Upload", false);
    rest();

    button.addEventListener("click", () => input.click());
    input.addEventListener("change", async () => {
      const [file] = input.files ?? [];
      input.value = ""; // so that the same file can be chosen again
      if (!file) return;
      try {
        const blob = file.size > LARGEST ? await shrink(file, say) : file;
        say(`Sending ${megabytes(blob.size)} …`);
        model.send({ name: file.name }, undefined, [await blob.arrayBuffer()]);
      } catch {
        model.send({ name: file.name }); // no picture that the browser knows
      }
    });
    model.on("msg:custom", rest); // the kernel has it
    return () => model.off("msg:custom", rest);
  },
};

/**
 * A photo as a JPEG that fits into a message.
 * @param {File} file
 * @param {(text: string) => void} say
 */
async function shrink(file, say) {
  say(`Reading ${megabytes(file.size)} …`);
  const image = await createImageBitmap(file);
  try {
    for (let longest = LONGEST; ; longest *= 0.8) {
      const { width, height } = fitted(image.width, image.height, longest);
      say(`Making it ${width} × ${height} …`);
      const canvas = new OffscreenCanvas(width, height);
      const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
      context.imageSmoothingQuality = "high";
      context.drawImage(image, 0, 0, width, height);
      const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
      if (blob.size <= LARGEST) return blob;
    }
  } finally {
    image.close();
  }
}

/** @param {number} width @param {number} height @param {number} longest */
function fitted(width, height, longest) {
  const scale = Math.min(1, longest / Math.max(width, height));
  return {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  };
}

/** @param {number} bytes */
function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
