/** Hands on what the microphone hears, a tenth of a second at a time. */
class Chunks extends AudioWorkletProcessor {
  #kept = new Float32Array(sampleRate / 10);
  #count = 0;

  process([[samples = []]]) {
    for (const sample of samples) {
      this.#kept[this.#count++] = sample;
      if (this.#count < this.#kept.length) continue;
      this.port.postMessage(this.#kept.slice());
      this.#count = 0;
    }
    return true;
  }
}

registerProcessor("chunks", Chunks);
