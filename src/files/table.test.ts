import { describe, expect, it } from "vitest";
import { readCsv, readJsonLines } from "./table.ts";

describe("a CSV text", () => {
  it("is rows by the names of its columns", () => {
    expect(readCsv("\ufefftext,label\r\nhello,a\r\n\r\n,b\n")).toEqual([
      { text: "hello", label: "a" },
      { text: "", label: "b" },
    ]);
  });

  it("may have commas, quotes and line ends within quotes", () => {
    expect(readCsv('text,label\n"one, ""two""\nthree",x')).toEqual([{ text: 'one, "two"\nthree', label: "x" }]);
    expect(readCsv("a,b\n1,")).toEqual([{ a: "1", b: "" }]);
  });

  it("is refused where a row is too long", () => {
    expect(() => readCsv("text,label\nyes, please,a", "t.csv")).toThrow("t.csv: Row 2 has 3 values");
  });
});

describe("JSON lines", () => {
  it("are rows, numbers as their text", () => {
    expect(readJsonLines('{"text":"hi","label":3}\n\n{"text":"ho"}\n')).toEqual([
      { text: "hi", label: "3" },
      { text: "ho" },
    ]);
  });

  it("are refused where one is no object", () => {
    expect(() => readJsonLines('{"text":"hi"}\n[1]', "t.jsonl")).toThrow("t.jsonl: Line 2 is no JSON object.");
  });
});
