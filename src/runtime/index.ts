export { defaultRuntime, openSession, type Runtime, type Session, type SessionOptions } from "./session.ts";
