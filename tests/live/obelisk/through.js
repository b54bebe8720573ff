// Fails as its one activity does.
import { fails } from "live:retries/activity";

export default function through(name) {
  return fails(name);
}
