// Dyna-Q, its model and value iteration, number for number those of wmlib.agents.dyna, for pages that have
// no kernel.
//
// Nothing here touches the page. A test lives the same lives in Python: same seed, same draws, same
// values. Letters as in the library: S states, A actions. Tables are flat, pair (s, a) at s * A + a.

export const ACTIONS = ["up", "down", "left", "right"];
export const MOVES = [[-1, 0], [1, 0], [0, -1], [0, 1]];
const A = ACTIONS.length;
const ALL = [0, 1, 2, 3];
const ENDS = -1; // the state that follows where the episode ends for good

// Random numbers of NumPy's default_rng(seed).spawn(...)[child].random(): PCG64 (O'Neill 2014), seeded
// by NumPy's SeedSequence (after O'Neill's seed_seq_fe).
export class Pcg {
  constructor(seed, child) {
    const pool = seedPool([seed, 0, 0, 0, child]);
    const words = Array.from({ length: 8 }, hasher(0x8b51f9dd, 0x58f38ded, (i) => pool[i % 4]));
    const [high, low, more, less] = [0, 2, 4, 6].map(
      (i) => BigInt(words[i]) | (BigInt(words[i + 1]) << 32n));
    this.increment = (((more << 64n) | less) << 1n) | 1n;
    this.state = this.increment + ((high << 64n) | low);
    this.advance();
  }

  advance() {
    const product = this.state * 0x2360ed051fc65da44385df649fccf645n;
    this.state = BigInt.asUintN(128, product + this.increment);
  }

  // A number in [0, 1), of 53 bits.
  uniform() {
    this.advance();
    const folded = BigInt.asUintN(64, (this.state >> 64n) ^ this.state);
    const turn = this.state >> 122n;
    const turned = BigInt.asUintN(64, (folded >> turn) | (folded << (64n - turn)));
    return Number(turned >> 11n) / 9007199254740992;
  }

  // An integer in 0..n-1.
  below(n) {
    return Math.floor(this.uniform() * n);
  }
}

// (_, i) -> the hash of word(i), with a constant that changes at each call.
function hasher(start, factor, word) {
  let constant = start;
  return (_, i) => {
    let value = word(i) ^ constant;
    constant = Math.imul(constant, factor);
    value = Math.imul(value, constant);
    return (value ^ (value >>> 16)) >>> 0;
  };
}

function seedPool(entropy) {
  let word;
  const hash = hasher(0x43b0d7e5, 0x931e8875, () => word);
  const hashed = (value) => {
    word = value;
    return hash();
  };
  const mixed = (x, y) => {
    const value = Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y);
    return (value ^ (value >>> 16)) >>> 0;
  };
  const pool = entropy.slice(0, 4).map(hashed);
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mixed(pool[to], hashed(pool[from]));
  }
  for (const value of entropy.slice(4)) {
    for (let to = 0; to < 4; to++) pool[to] = mixed(pool[to], hashed(value));
  }
  return pool;
}

// The real world, drawn as wmlib.envs.maze draws it: S start, G goal, # wall, . free. It may be
// redrawn while an agent lives in it.
export class Maze {
  constructor(text) {
    const lines = text.trim().split(/\s+/);
    this.rows = lines.length;
    this.columns = lines[0].length;
    this.states = this.rows * this.columns;
    this.draw(text);
  }

  // From now on it is as in that drawing, of the same size.
  draw(text) {
    this.walls = new Set();
    this.goals = new Set();
    [...text.replace(/\s/g, "")].forEach((mark, state) => {
      if (mark === "#") this.walls.add(state);
      if (mark === "G") this.goals.add(state);
      if (mark === "S") this.start = state;
    });
  }

  mark(state) {
    if (state === this.start) return "S";
    return this.goals.has(state) ? "G" : this.walls.has(state) ? "#" : ".";
  }

  toString() {
    const marks = Array.from({ length: this.states }, (_, state) => this.mark(state)).join("");
    return marks.match(new RegExp(`.{${this.columns}}`, "g")).join("\n");
  }

  // The neighbour of a cell, walled or not; -1 beyond the edge.
  beside(state, action) {
    const row = Math.floor(state / this.columns) + MOVES[action][0];
    const column = (state % this.columns) + MOVES[action][1];
    const inside = row >= 0 && row < this.rows && column >= 0 && column < this.columns;
    return inside ? row * this.columns + column : -1;
  }

  // Where a move leads: the neighbour, or the cell itself before a wall or the edge.
  after(state, action) {
    const next = this.beside(state, action);
    return next < 0 || this.walls.has(next) ? state : next;
  }

  // A real step: [the state that follows or ENDS, reward, the cell that the agent is in then].
  step(state, action) {
    const cell = this.after(state, action);
    return this.goals.has(cell) ? [ENDS, 1, cell] : [cell, 0, cell];
  }

  // The cells that an episode can reach, and its steps to the nearest goal (Infinity: no path).
  survey() {
    const far = new Map([[this.start, 0]]);
    let shortest = Infinity;
    for (const [state, steps] of far) {
      if (this.goals.has(state)) {
        shortest = Math.min(shortest, steps);
        continue; // nothing comes after a goal
      }
      for (const action of ALL) {
        const cell = this.after(state, action);
        if (!far.has(cell)) far.set(cell, steps + 1);
      }
    }
    return { reached: [...far.keys()], shortest };
  }
}

// What is believed of the world: each pair does what it did the last time. A pair that was never
// tried is imagined to lead back and to pay nothing.
export class TabularModel {
  constructor(states) {
    this.time = 0; // real transitions seen
    this.visited = []; // states acted in, in the order of their first time
    this.actions = Array.from({ length: states }, () => []); // tried in each, in that order
    this.tried = new Int32Array(states * A); // how often
    this.lastTried = new Int32Array(states * A); // at which real transition, from 1; 0: never
    this.after = Int32Array.from({ length: states * A }, (_, pair) => Math.floor(pair / A));
    this.rewards = new Float64Array(states * A);
  }

  update(state, action, reward, next) {
    const pair = state * A + action;
    if (!this.tried[pair]++) {
      if (!this.actions[state].length) this.visited.push(state);
      this.actions[state].push(action);
    }
    this.after[pair] = next;
    this.rewards[pair] = reward;
    this.lastTried[pair] = ++this.time;
  }

  // Whether the world does in this pair what is believed; what was never tried is not wrong.
  holds(maze, pair) {
    if (!this.tried[pair]) return true;
    const [next, reward] = maze.step(Math.floor(pair / A), pair % A);
    return this.after[pair] === next && this.rewards[pair] === reward;
  }

  // (S, A) with -1 where the episode ends or nothing was tried, as its value_iteration reads it.
  nextStates() {
    return this.after.map((next, pair) => (this.tried[pair] ? next : ENDS));
  }
}

const best = (values, state) => {
  const at = state * A;
  return Math.max(values[at], values[at + 1], values[at + 2], values[at + 3]);
};

// The first of the best actions of a state.
export const greedy = (values, state) =>
  values.subarray(state * A, state * A + A).indexOf(best(values, state));

// Action values (S * A) of a deterministic world under its best policy.
export function valueIteration(nextStates, rewards, discount, tolerance = 1e-12) {
  let values = new Float64Array(rewards.length);
  for (;;) {
    const old = values;
    values = rewards.map(
      (reward, pair) => reward + discount * (nextStates[pair] < 0 ? 0 : best(old, nextStates[pair])));
    const change = values.reduce((most, value, i) => Math.max(most, Math.abs(value - old[i])), 0);
    if (discount * change <= tolerance * (1 - discount)) return values;
  }
}

// The states on the best way from `start`, as its greedy_path gives them.
export function greedyPath(values, nextStates, start) {
  const path = [start];
  for (;;) {
    const state = path.at(-1);
    const next = nextStates[state * A + greedy(values, state)];
    if (path.includes(next)) return path;
    path.push(next);
    if (next < 0) return path;
  }
}

// An agent in a maze: it learns a model and, by Dyna-Q, action values. With a bonus it is Dyna-Q+.
export class Agent {
  constructor(maze, config, seed) {
    this.maze = maze;
    this.config = config; // {updates, bonus, step_size, discount, exploration}
    this.seed = seed;
    this.acting = new Pcg(seed, 0);
    this.planning = new Pcg(seed, 1);
    this.wandering = new Pcg(seed, 2);
    this.dreaming = new Pcg(seed, 3);
    this.model = new TabularModel(maze.states);
    this.values = new Float64Array(maze.states * A);
    this.lengths = []; // steps of each episode of learning
    this.imagined = []; // the pairs of the last imagined updates
    this.updates = 0; // imagined so far
    this.begin();
  }

  // A new episode.
  begin() {
    this.state = this.maze.start;
    this.steps = 0;
  }

  learn(state, action, reward, next) {
    const pair = state * A + action;
    const ahead = next < 0 ? 0 : this.config.discount * best(this.values, next);
    this.values[pair] += this.config.step_size * (reward + ahead - this.values[pair]);
  }

  act(state) {
    if (this.acting.uniform() < this.config.exploration) return this.acting.below(A);
    const most = best(this.values, state);
    const ties = [];
    for (let a = 0; a < A; a++) if (this.values[state * A + a] === most) ties.push(a);
    return ties.length === 1 ? ties[0] : ties[this.acting.below(ties.length)];
  }

  // Learn from imagined transitions.
  plan() {
    const { model, planning } = this;
    const { updates, bonus } = this.config;
    this.imagined = [];
    for (let i = 0; i < updates; i++) {
      const state = model.visited[planning.below(model.visited.length)];
      const actions = bonus ? ALL : model.actions[state];
      const action = actions[planning.below(actions.length)];
      const pair = state * A + action;
      const extra = bonus ? bonus * Math.sqrt(model.time - model.lastTried[pair]) : 0;
      this.learn(state, action, model.rewards[pair] + extra, model.after[pair]);
      this.imagined.push(pair);
    }
    this.updates += updates;
  }

  // A real step, of which the model takes note: `expected` is what it said of it, null if nothing.
  move(action) {
    const { state, model } = this;
    const pair = state * A + action;
    const expected = model.tried[pair] ? model.after[pair] : null;
    const foreseen = expected === null || model.holds(this.maze, pair);
    const [next, reward, cell] = this.maze.step(state, action);
    model.update(state, action, reward, next);
    this.state = cell;
    this.steps++;
    return { state, action, reward, next, cell, expected, foreseen };
  }

  // A step of Dyna-Q.
  live() {
    const action = this.act(this.state);
    const step = this.move(action);
    this.learn(step.state, action, step.reward, step.next);
    this.plan();
    if (step.next < 0) {
      this.lengths.push(this.steps);
      this.begin();
    }
    return step;
  }

  // A step at random, from which only the model learns.
  wander() {
    const step = this.move(this.wandering.below(A));
    if (step.next < 0) this.begin();
    return step;
  }

  // A way imagined in the model alone, from a state that was acted in, by actions that were tried
  // there. It avoids to bump and to turn back. {cells, end, wrong}: `end` is "goal", "unknown" or
  // "horizon"; `wrong` is the first step that the real world would not follow, -1 if it follows all.
  dream(horizon) {
    const { model, dreaming, maze } = this;
    let state = model.visited[dreaming.below(model.visited.length)];
    const cells = [state];
    let wrong = -1;
    const found = (end) => ({ cells, end, wrong });
    while (cells.length <= horizon) {
      const back = cells.at(-2);
      const after = (action) => model.after[state * A + action];
      const tried = model.actions[state];
      if (!tried.length) return found("unknown");
      const moves = tried.filter((action) => after(action) !== state);
      const onward = moves.filter((action) => after(action) !== back);
      const options = onward.length ? onward : moves.length ? moves : tried;
      const action = options[dreaming.below(options.length)];
      if (wrong < 0 && !model.holds(maze, state * A + action)) wrong = cells.length - 1;
      const next = after(action);
      cells.push(next < 0 ? maze.beside(state, action) : next);
      if (next < 0) return found("goal");
      state = next;
    }
    return found("horizon");
  }
}
