// One agent's life in the playground: what it does step by step, and what there is to say of it.
//
// Nothing here touches the page.

import { ACTIONS, Agent, greedy, greedyPath, valueIteration } from "./dyna.js";
import { placeOf } from "./grid.js";

const DREAMS = 4;
const HORIZON = 25; // steps of a dream
const TAIL = 12; // cells of the trail behind the agent
const AT_ONCE = { explore: 200, learn: 10 }; // steps, episodes
const PATIENCE = 20000; // steps that are taken at once, at most

export const number = (value) => value.toLocaleString("en-GB");
export const some = (count, what) => `${number(count)} ${what}${count === 1 ? "" : "s"}`;

export class Life {
  constructor(maze, config, seed) {
    this.maze = maze;
    this.agent = new Agent(maze, config, seed);
    this.others = 0; // real steps that were not steps of learning
    this.notes = config.bonus ? ["bonus"] : []; // for the label of its curve
    this.edits = []; // episodes in which the world was redrawn
    this.surprise = null; // the last one, in words
    this.activity = "explore"; // or "dream", "plan", "learn"
    this.acted = "explore"; // the last activity in the real world
    this.route = null; // of a plan: {values, path, walked, over}
    this.dreams = [];
    this.dreamt = 0; // steps
    this.dots = []; // pairs that the picture of the belief points out
    this.survey();
    this.begin();
  }

  // Take note of the world as it is drawn now.
  survey() {
    const { reached, shortest } = this.maze.survey();
    this.shortest = shortest;
    this.acting = reached.filter((state) => !this.maze.goals.has(state)); // where it can act
  }

  // The agent is put on the start.
  begin() {
    this.agent.begin();
    this.last = { from: this.agent.state, to: this.agent.state };
    this.trail = [this.agent.state];
  }

  // From now on the agent does this.
  choose(activity) {
    this.activity = activity;
    this.dreams = [];
    this.route = null;
    if (activity === "dream") return;
    if (activity === "plan" || activity !== this.acted) this.begin();
    this.acted = activity;
  }

  // The reader has redrawn the world.
  redrawn() {
    this.survey();
    const episode = this.agent.lengths.length + 1;
    if (this.learned && this.edits.at(-1) !== episode) this.edits.push(episode);
    if (!this.agent.steps) this.begin(); // it waits on the start, wherever that is
  }

  // From now on the bonus is that.
  reward(bonus) {
    this.agent.config.bonus = bonus;
    const episode = this.agent.lengths.length + 1;
    if (this.learned) this.notes.push(`bonus ${bonus ? "on" : "off"} from episode ${episode}`);
    else this.notes = bonus ? ["bonus"] : [];
  }

  // Real steps of learning.
  get learned() {
    return this.agent.model.time - this.others;
  }

  // The learning curve, and how it came about.
  get story() {
    const { config, seed, lengths } = this.agent;
    const more = this.others ? [some(this.others, "other real step")] : [];
    const label = [`k = ${config.updates}`, ...this.notes, `seed ${seed}`, ...more].join(", ");
    return { label, updates: config.updates, bonus: config.bonus, seed, lengths: [...lengths] };
  }

  // The action values to show: those of the plan, if there is one, else those learned.
  get values() {
    return this.route ? this.route.values : this.agent.values;
  }

  // The cells of the plan.
  get way() {
    if (!this.route) return [];
    const { values, path } = this.route;
    const last = path.at(-2);
    return path.map((cell) => (cell < 0 ? this.maze.beside(last, greedy(values, last)) : cell));
  }

  // Pairs of a cell and an action: how many can be tried, have been, and are wrong by now.
  get pairs() {
    const { model } = this.agent;
    const count = (states, holds) => states.reduce((sum, state) => sum +
      ACTIONS.filter((_, action) => holds(state * ACTIONS.length + action)).length, 0);
    return {
      all: ACTIONS.length * this.acting.length,
      tried: count(this.acting, (pair) => model.tried[pair] > 0),
      wrong: count(model.visited, (pair) => !model.holds(this.maze, pair)),
    };
  }

  // One step of what the agent does. When that is over: what there is to say, else null.
  advance() {
    this.dots = [];
    return this[this.activity]();
  }

  // As much as one press of a button asks for; what there is to say.
  atOnce() {
    const episodes = this.agent.lengths.length + AT_ONCE.learn;
    for (let i = 0; i < PATIENCE; i++) {
      if (this.activity === "explore" && i === AT_ONCE.explore) return this.sofar();
      if (this.activity === "learn" && this.agent.lengths.length === episodes) return this.sofar();
      const over = this.advance();
      if (over !== null) return over;
    }
    return `${this.sofar()} ${number(PATIENCE)} steps were not enough for ${AT_ONCE.learn} episodes.`;
  }

  explore() {
    const done = this.agent.wander();
    this.others++;
    this.take(done);
    if (done.expected !== null) return null;
    const { all, tried } = this.pairs;
    return tried === all ? `Every pair that can be tried has been: ${number(all)} of them.` : null;
  }

  learn() {
    this.take(this.agent.live());
    return null;
  }

  dream() {
    if (!this.agent.model.time) {
      return "The model is empty, so there is nothing to dream of. Press Explore.";
    }
    const longest = () => Math.max(...this.dreams.map(({ cells }) => cells.length - 1));
    if (!this.dreams.length || this.dreamt >= longest()) {
      this.dreams = Array.from({ length: DREAMS }, () => this.agent.dream(HORIZON));
      this.dreamt = 0;
    }
    this.dreamt++;
    return this.dreamt < longest() ? null : this.awake();
  }

  // The first step makes the plan; the others walk it.
  plan() {
    const { agent, maze } = this;
    if (!this.route || this.route.over) {
      this.begin();
      const after = agent.model.nextStates();
      const values = valueIteration(after, agent.model.rewards, agent.config.discount);
      const known = values[maze.start * ACTIONS.length + greedy(values, maze.start)] > 0;
      const path = known ? greedyPath(values, after, maze.start) : [];
      this.route = { values, path, walked: 0, over: !known };
      return known ? null
        : "In the model no way leads from the start to a goal, so there is no plan. Press Explore.";
    }
    const { route } = this;
    const done = agent.move(greedy(route.values, route.path[route.walked]));
    this.others++;
    this.take(done);
    route.walked++;
    const held = done.next === route.path[route.walked];
    route.over = !held || done.next < 0;
    if (!held) return this.wrong(done);
    return done.next < 0 ? this.arrived() : null;
  }

  // A real step.
  take(done) {
    const { trail, agent, maze, activity } = this;
    this.last = { from: done.state, to: done.cell, done };
    this.trail = trail.at(-1) === done.state ? [...trail, done.cell] : [done.state, done.cell];
    if (activity !== "plan") this.trail = this.trail.slice(-TAIL);
    if (!done.foreseen) {
      this.surprise = `step ${number(agent.model.time)}, ${placeOf(maze, done.state)}`;
    }
  }

  // What there is to say after all dreams ...
  awake() {
    const ends = (end) => this.dreams.filter((dream) => dream.end === end).length;
    const wrong = this.dreams.filter((dream) => dream.wrong >= 0).length;
    const parts = [
      [ends("goal"), "at a goal"], [ends("unknown"), "where nothing is known"],
      [ends("horizon"), `after ${HORIZON} steps`],
    ].filter(([count]) => count).map(([count, where]) => `${count} ${where}`);
    const truth = wrong
      ? `The real world would not follow ${wrong} of them: dashed from there on.`
      : "The real world would follow them all.";
    return `${DREAMS} dreams ended: ${parts.join(", ")}. ${truth}`;
  }

  // ... after a plan that held ...
  arrived() {
    const { walked } = this.route;
    const more = walked > this.shortest
      ? `There is a way of ${some(this.shortest, "step")}, which the model does not know.`
      : "No way is shorter.";
    return `The plan held: the goal after ${some(walked, "step")}. ${more}`;
  }

  // ... after a step that the model had wrong ...
  wrong({ state, action, cell, next, expected }) {
    const { maze } = this;
    const hoped = expected < 0
      ? `a goal at ${placeOf(maze, maze.beside(state, action))}`
      : `a free way to ${placeOf(maze, expected)}`;
    const truth = next < 0 ? "there is a goal" : cell === state ? "there is a wall" : "there is none";
    return `Step ${this.route.walked} went wrong: the model expected ${hoped}, but ${truth}. ` +
      "The model has taken note. Press Plan to plan again.";
  }

  // ... after a single step ...
  stepped() {
    const { activity, agent, route, last, maze } = this;
    if (activity === "dream") return `Step ${this.dreamt} of ${some(DREAMS, "dream")}.`;
    if (activity === "plan" && !route.walked) {
      const length = some(route.path.length - 1, "step");
      return `The plan, by the model alone: ${length}. The next step walks.`;
    }
    const { action, state, cell, expected, foreseen } = last.done;
    const where = cell === state ? "and back" : `to ${placeOf(maze, cell)}`;
    const news = expected === null ? "new to the model"
      : foreseen ? "as the model said" : "not as the model said";
    const real = `Real step ${number(agent.model.time)}: ${ACTIONS[action]} ${where}, ${news}.`;
    if (activity !== "learn") return real;
    this.dots = agent.imagined;
    const { length } = this.dots;
    return `${real} Then ${some(length, "imagined update")}${length ? ", dotted" : ""}.`;
  }

  // ... and after a pause.
  sofar() {
    const { agent, pairs } = this;
    const real = some(agent.model.time, "real step");
    return {
      explore: `Paused after ${real}: ${number(pairs.tried)} of ${number(pairs.all)} pairs tried.`,
      dream: `Paused after step ${this.dreamt} of the dreams.`,
      plan: `Paused after ${some(this.route?.walked ?? 0, "step")} of the plan.`,
      learn: `Paused in episode ${number(agent.lengths.length + 1)}, after ${real} ` +
        `and ${some(agent.updates, "imagined update")}.`,
    }[this.activity];
  }

  // What is going on.
  doing() {
    return {
      explore: "The agent wanders at random, and its model takes note of each step.",
      dream: `${some(DREAMS, "way")} are imagined in the model alone.`,
      plan: "The best way by the model alone, and then a walk in the real world.",
      learn: "The agent learns: after each real step, " +
        `${some(this.agent.config.updates, "imagined update")}.`,
    }[this.activity];
  }
}
