"""Writes torchaudio's mel spectrograms and resampled sounds to the path given: test/golden/sound.json."""
import json
import math
import sys
import torch
import torchaudio


def sound(length, rate):
    t = torch.arange(length, dtype=torch.float64) / rate
    tau = 2 * math.pi
    tones = 0.5 * torch.sin(tau * 440 * t) + 0.3 * torch.sin(tau * (200 * t + 900 * t * t)) + 0.05 * torch.cos(tau * 3100 * t)
    return tones.float().double()


def numbers(t):
    return [float(f"{v:.6g}") for v in t.flatten().tolist()]


def mel(rate, length, window, hop, mels):
    size = 2 ** math.ceil(math.log2(window))
    gap = size - window  # torchaudio puts a short window into the middle of the transform
    spectrogram = torchaudio.transforms.MelSpectrogram(
        sample_rate=rate, n_fft=size, win_length=window, hop_length=hop, n_mels=mels, center=False
    ).double()
    padded = torch.nn.functional.pad(sound(length, rate), (gap // 2, gap - gap // 2))
    values = numbers(spectrogram(padded).T)
    return {"rate": rate, "length": length, "window": window, "hop": hop, "mels": mels, "values": values}


def resample(rate, to, length):
    values = numbers(torchaudio.functional.resample(sound(length, rate), rate, to))
    return {"rate": rate, "to": to, "length": length, "values": values}


golden = {
    "source": f"torchaudio {torchaudio.__version__}",
    "mel": [mel(8000, 700, 200, 80, 12), mel(16000, 1600, 480, 320, 10), mel(8000, 600, 128, 100, 20)],
    "resample": [resample(8000, 16000, 60), resample(44100, 16000, 200), resample(16000, 11025, 100)],
}
with open(sys.argv[1], "w") as file:
    json.dump(golden, file)
    file.write("\n")
