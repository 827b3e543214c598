/** Zero crossings of the sinc on either side, and where it cuts off as a share of the lower rate's half. */
const [CROSSINGS, ROLLOFF] = [6, 0.99];

/**
 * The samples at another rate, ⌈length · to / from⌉ of them: band-limited interpolation by a sinc under a Hann window
 * (Smith, Digital Audio Resampling), with the width and cut-off that torchaudio's `resample` has by default. Rates are whole numbers.
 *
 * @example
 * const wide = resample(samples, 8000, 16000);
 */
export function resample(samples: Float32Array, from: number, to: number): Float32Array {
  if (from === to) return samples;
  const common = gcd(from, to);
  const [down, up] = [from / common, to / common];
  const cutoff = Math.min(down, up) * ROLLOFF;
  const reach = Math.ceil((CROSSINGS * down) / cutoff);
  const taps = 2 * reach + 1;
  const kernels = kernelsOf({ down, up, cutoff, reach });
  const out = new Float32Array(Math.ceil((samples.length * up) / down));
  for (let j = 0; j < out.length; j++) {
    const phase = j % up;
    const first = Math.floor(j / up) * down + Math.floor((phase * down) / up) - reach;
    let sum = 0;
    for (let tap = Math.max(0, -first); tap < Math.min(taps, samples.length - first); tap++)
      sum += (samples[first + tap] as number) * (kernels[phase * taps + tap] as number);
    out[j] = sum;
  }
  return out;
}

/** What each sample around an output of each phase counts for: h(t) = c/d · sinc(π·t) · cos²(π·t / (2·crossings)), |t| ≤ crossings. */
function kernelsOf({ down, up, cutoff, reach }: Readonly<Record<"down" | "up" | "cutoff" | "reach", number>>) {
  const taps = 2 * reach + 1;
  const kernels = new Float64Array(up * taps);
  for (let phase = 0; phase < up; phase++)
    for (let tap = 0; tap < taps; tap++) {
      const place = Math.floor((phase * down) / up) - reach + tap;
      const t = (place / down - phase / up) * cutoff;
      if (Math.abs(t) >= CROSSINGS) continue;
      const sinc = t === 0 ? 1 : Math.sin(Math.PI * t) / (Math.PI * t);
      kernels[phase * taps + tap] = (cutoff / down) * sinc * Math.cos((Math.PI * t) / (2 * CROSSINGS)) ** 2;
    }
  return kernels;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
