export { blockSize } from "./block-size.ts";
export { defaultRuntime, openSession, type Runtime, type Session, type SessionOptions } from "./session.ts";
export { type Cpu, type Format, SPEEDS, type Speed, speedOf, type Target } from "./targets.ts";
