"""Writes test/golden/stored.npz, compressed.npz, strange.npz and words.npz, as NumPy does. Needs numpy."""
import pathlib
import numpy

folder = pathlib.Path(__file__).parent.parent / "test/golden"
x = (numpy.arange(6 * 5 * 4) * 7 % 256).astype(numpy.uint8).reshape(6, 5, 4)
y = numpy.array([[0], [1], [2], [0], [1], [2]], dtype=numpy.int64)
numpy.savez(folder / "stored.npz", x=x, y=y, big=numpy.array([1.5, -2.25], dtype=">f4"), half=numpy.array([[0.5]], dtype=numpy.float16))
numpy.savez(folder / "strange.npz", fortran=numpy.asfortranarray(numpy.ones((2, 3))))
numpy.savez(folder / "words.npz", words=numpy.array(["a", "bc"]))
numpy.savez_compressed(folder / "compressed.npz", train_images=x[:4], train_labels=y[:4], test_images=x[4:], test_labels=y[4:])
