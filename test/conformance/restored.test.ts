import { caseOf } from './random/check.ts';
import { conform } from './support/compare.ts';

// Machines, found by chance and made small, in which an actor that was brought back from its row once did other things than
// one that had stayed in memory: XState makes anew what a snapshot does not say, and does not make the same.

conform('restored snapshots', [
  caseOf('active states after a transition between parallel regions', {
    machine: {
      id: 's0',
      entry: [{ do: 'raise', event: 'E.0' }],
      initial: 's1',
      states: {
        s1: {
          id: 's1',
          type: 'parallel',
          states: {
            s3: {
              id: 's3',
              entry: ['count'],
              on: {
                'E.4': [
                  { actions: ['count', { do: 'raise', event: 'E.3' }], guard: { at: '#s4' } },
                ],
              },
              initial: 's4',
              states: {
                s4: {
                  id: 's4',
                  initial: 's5',
                  states: {
                    s5: {
                      id: 's5',
                      exit: [{ do: 'raise', event: 'E.4' }],
                      on: {
                        'E.0': [
                          {
                            target: '#s6',
                            guard: {
                              any: [{ is: [2, 0] }, { any: [{ is: [2, 0] }, { is: [2, 0] }] }],
                            },
                          },
                          { target: '#s10' },
                        ],
                      },
                    },
                    s6: { id: 's6', always: { actions: ['count'], guard: { is: [7, 4] } } },
                  },
                },
                s7: {
                  id: 's7',
                  initial: 's8',
                  states: { s8: { id: 's8' }, s10: { id: 's10', type: 'history' } },
                },
              },
            },
            s11: {
              id: 's11',
              always: { actions: ['count'], guard: { is: [7, 3] } },
              initial: 's12',
              states: {
                s12: {
                  id: 's12',
                  on: { 'E.3': [{ target: '#s15' }] },
                  always: { actions: ['count'], guard: { is: [7, 4] } },
                },
              },
            },
            s15: { id: 's15', type: 'history' },
          },
        },
      },
    },
    steps: [{ send: { type: 'E.0' } }],
  }),
  caseOf('tags of a state that was entered in another order', {
    machine: {
      id: 's0',
      initial: 's1',
      states: {
        s1: {
          id: 's1',
          initial: 's2',
          states: {
            s2: {
              id: 's2',
              type: 'parallel',
              states: {
                s4: {
                  id: 's4',
                  type: 'parallel',
                  states: {
                    s5: { id: 's5', on: { 'E.4': [{ target: '#s8' }] } },
                    s8: { id: 's8', type: 'history' },
                  },
                },
                s9: {
                  id: 's9',
                  initial: 's10',
                  states: {
                    s10: { id: 's10', entry: [{ do: 'raise', event: 'E.4' }], tags: ['t1'] },
                  },
                },
              },
            },
          },
        },
      },
    },
    steps: [],
  }),
  caseOf('a history state that remembers nothing', {
    machine: {
      id: 's0',
      initial: 's1',
      states: {
        s1: {
          id: 's1',
          initial: 's2',
          states: {
            s2: {
              id: 's2',
              on: {
                'E.*': { actions: ['count'], target: '#s7', guard: { none: { is: [3, 0] } } },
                'E.2': { actions: ['count'] },
              },
            },
            s3: {
              id: 's3',
              initial: 's4',
              states: {
                s4: {
                  id: 's4',
                  exit: ['count'],
                  on: {
                    'E.2': [{ actions: ['count', { do: 'raise', event: 'E.2' }], target: '#s11' }],
                  },
                  initial: 's5',
                  states: {
                    s5: { id: 's5' },
                    s7: {
                      id: 's7',
                      on: {
                        'E.4': [
                          {
                            target: '#s13',
                            guard: {
                              any: [
                                { all: [{ is: [3, 0] }, { is: [2, 1] }] },
                                { none: { is: [2, 0] } },
                              ],
                            },
                          },
                        ],
                      },
                    },
                  },
                },
                s9: {
                  id: 's9',
                  entry: [{ do: 'raise', event: 'E.3' }],
                  exit: ['count'],
                  on: { 'E.3': [{ target: '#s1', guard: { is: [2, 1] } }] },
                  type: 'parallel',
                  states: {
                    s11: {
                      id: 's11',
                      exit: [{ do: 'self', event: 'E.4' }],
                      on: { 'E.2': [{ actions: ['count'], target: '#s12' }] },
                    },
                    s12: { id: 's12', type: 'history' },
                  },
                },
                s13: { id: 's13', type: 'history' },
              },
            },
          },
        },
      },
    },
    steps: [{ send: { type: 'E.2' } }, { send: { type: 'E.4' } }, { send: { type: 'E.2' } }],
  }),
]);
