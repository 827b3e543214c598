import { describe, expect, it } from "vitest";
import { matchClasses } from "./classes.ts";

describe("class folders", () => {
  it("are matched to labels by name, whatever the case, punctuation, synonyms and WordNet numbers", () => {
    const labels = ["background", "n01440764 tench, Tinca tinca", "great white shark, white shark", "T-shirt/top"];
    expect(matchClasses(["tench", "white_shark", "t shirt top"], labels)).toEqual({ map: [1, 2, 3], how: "by name" });
    expect(matchClasses(["n01440764"], labels)).toEqual({ map: [1], how: "by name" });
  });

  it("are numbers where their names are: from 0, or from 1 without a gap", () => {
    expect(matchClasses(["0", "1", "10", "2"])).toEqual({ map: [0, 1, 10, 2], how: "by number" });
    expect(matchClasses(["1", "2", "3"]).map).toEqual([0, 1, 2]);
    expect(matchClasses(["7", "3"]).map).toEqual([7, 3]);
  });

  it("are else in the order of the alphabet, moved by the offset", () => {
    expect(matchClasses(["b", "a"], ["x", "y", "z"], 1)).toEqual({ map: [2, 1], how: "alphabetically" });
  });

  it("of which only some have a label are an error that names the others", () => {
    expect(() => matchClasses(["cat", "dragon"], ["cat", "dog"])).toThrow(
      "1 of the 2 classes are not among the model's labels: dragon.",
    );
  });

  it("more than the model has are an error", () => {
    expect(() => matchClasses(["p", "q", "r"], ["a", "b"])).toThrow("There are 3 classes, and the model has 2 labels.");
  });
});
