/**
 * Rooms and ranks: an import goes to a lower rank only; `import type` counts. Two rooms of one
 * rank do not import each other.
 */
const RANKS = [
  ['base'],
  ['wire', 'telemetry', 'plot'],
  ['config', 'model'],
  ['planner', 'scheduler', 'stream'],
  ['engine', 'admission', 'http'],
  ['host'],
  ['pool', 'metering', 'bench', 'simulate'],
  ['node', 'fleet'],
  ['cli'],
];

const rankRules = RANKS.flatMap((rooms, rank) =>
  rooms.map((room) => {
    const allowed = [...RANKS.slice(0, rank).flat(), room].join('|');
    return {
      name: `rank-${room}`,
      comment: `${room} (rank ${rank}) may import only rooms of a lower rank.`,
      severity: 'error',
      from: { path: `^src/${room}/`, pathNot: '\\.test\\.ts$' },
      to: { path: '^src/', pathNot: `^src/(${allowed})/` },
    };
  }),
);

module.exports = {
  forbidden: [
    ...rankRules,
    {
      name: 'no-circular',
      comment: 'A cycle has no first file to read.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'known-room',
      comment: 'Every folder of src is a room with a rank.',
      severity: 'error',
      from: { path: '^src/', pathNot: `^src/(${RANKS.flat().join('|')})/` },
      to: {},
    },
    {
      name: 'pure-rooms',
      comment: 'The scheduler and the planner are pure: no clock, no files, no processes.',
      severity: 'error',
      from: {
        path: '^src/(scheduler|planner|base/(?!ids|assert))',
        pathNot: '\\.test\\.ts$|^src/base/ids',
      },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'one-door-to-the-library',
      comment: 'Only the binding opens the native library; one file asks macOS about processes.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(engine/llama/|pool/footprint\\.ts$)' },
      to: { path: 'node_modules/koffi' },
    },
    {
      name: 'not-from-tests',
      comment: 'What ships does not import what only tests use.',
      severity: 'error',
      from: { path: '^src/', pathNot: '\\.test\\.ts$|contract\\.ts$|fixture' },
      to: { path: '\\.test\\.ts$', dependencyTypes: ['local'] },
    },
    {
      name: 'resolvable',
      comment: 'An import that cannot be resolved.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    parser: 'swc',
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.cjs', '.mjs', '.json'],
    },
  },
};
