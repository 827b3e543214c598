import { expect, it } from "vitest";
import { nearestNames } from "./nearest.ts";

const NETS = ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "resnet18"];

it("finds a name by its mistyped beginning as well as whole", () => {
  expect(nearestNames("mobilnet_v3", NETS, { count: 4 })).toEqual(
    expect.arrayContaining(["mobilenet_v3_large", "mobilenet_v3_small"]),
  );
  expect(nearestNames("resnet81", NETS)).toEqual(["resnet18"]);
});

it("offers nothing for what is like nothing", () => {
  expect(nearestNames("transformer", NETS)).toEqual([]);
});
