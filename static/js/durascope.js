/* What the pages do with JavaScript: live morphs, keys, copying. Every page works without any of it. */
import { startCopying } from "./copy.js";
import { startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { startMinimap } from "./minimap.js";

document.cookie = `durascope_zone=${encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone)};path=/;max-age=31536000;samesite=strict`;

startCopying();
startKeys();
startLive();
startMinimap();
