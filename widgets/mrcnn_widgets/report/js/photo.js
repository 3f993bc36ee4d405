// @ts-check
// The program of a report on one photo.

import { PhotoReport } from "./photoreport.js";
import { start } from "./start.js";

start(PhotoReport);
