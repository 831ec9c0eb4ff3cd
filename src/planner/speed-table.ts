/** The fitted parameters that ship with the program: data/speed-params.json, typed. */
import table from '../../data/speed-params.json' with { type: 'json' };
import type { SpeedTable } from './speed-params.ts';

export const SPEED_TABLE: SpeedTable = table;
