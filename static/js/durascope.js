/* What the pages do with JavaScript: live morphs, keys, copying. Every page works without any of it. */
import { startCopying } from "./copy.js";
import { startCopyingFrom } from "./copyfrom.js";
import { startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { startMinimap } from "./minimap.js";
import { startPicking } from "./picking.js";
import { startPlace } from "./place.js";
import { startTree } from "./tree.js";

document.cookie = `durascope_zone=${encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone)};path=/;max-age=31536000;samesite=strict`;

startCopying();
startCopyingFrom();
startKeys();
startLive();
startMinimap();
startPicking();
startPlace();
startTree();
