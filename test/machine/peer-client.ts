/** Connects to the socket named, says nothing, and ends when the connection does or stdin does. */
import { connect } from "node:net";

connect(process.argv[2] ?? "")
  .on("close", () => process.exit())
  .on("error", () => process.exit(1))
  .resume();
process.stdin.on("end", () => process.exit()).resume();
