// @ts-check
// The program of a report on a data set.

import { DatasetReport } from "./datasetreport.js";
import { start } from "./start.js";

start(DatasetReport);
