"""Writes test/golden/resize.json: what Pillow makes of pictures that a formula makes. Needs Pillow 12 and numpy."""
import base64, hashlib, json, pathlib
import numpy, PIL
from PIL import Image


def picture(width, height, channels):
    """Byte i of the picture is the top byte of i * 2654435761 mod 2^32 mixed with a slow ramp; resize.test.ts has the same."""
    i = numpy.arange(width * height * channels, dtype=numpy.uint64)
    noise = (i * 2654435761 % 2**32) >> 24
    ramp = i * 255 // (width * height * channels)
    mixed = numpy.where(i % 7 < 3, noise, ramp).astype(numpy.uint8)
    return mixed.reshape((height, width, channels) if channels == 3 else (height, width))


cases = []
for channels in (1, 3):
    for (w, h), (tw, th) in [((32, 32), (224, 224)), ((32, 32), (256, 256)), ((500, 375), (341, 256)), ((640, 480), (32, 32)),
                             ((97, 131), (96, 96)), ((64, 64), (64, 20)), ((64, 64), (23, 64)), ((5, 3), (9, 1)), ((1, 1), (4, 4)), ((301, 7), (7, 301))]:
        for name, filter in (("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)):
            out = numpy.asarray(Image.fromarray(picture(w, h, channels)).resize((tw, th), filter)).tobytes()
            cases.append({"channels": channels, "from": [w, h], "to": [tw, th], "interpolation": name,
                          "sha256": hashlib.sha256(out).hexdigest(), "start": base64.b64encode(out[:24]).decode()})
path = pathlib.Path(__file__).parent.parent / "test/golden/resize.json"
path.write_text(json.dumps({"pillow": PIL.__version__, "cases": cases}, indent=1) + "\n")
