/** One way to have something: what it takes, and what it loses. */
export interface Choice {
  readonly cost: number;
  readonly loss: number;
}

interface State extends Choice {
  readonly before: State | undefined;
  readonly choice: number;
}

/**
 * The multiple-choice knapsack: one choice of every group, with the least sum of losses whose costs sum up to no more than
 * `budget`; the index of each choice, or undefined where even the cheapest cost more. Exact, costs being any numbers from 0 on:
 * the undominated sums are kept group by group (Nemhauser and Ullmann 1969), but for those that the bound of the linear
 * relaxation (Sinha and Zoltners 1979) shows to be no better than a solution found already.
 *
 * @example
 * chooseWithin([[{ cost: 4, loss: 0 }, { cost: 1, loss: 2 }], [{ cost: 4, loss: 0 }, { cost: 1, loss: 5 }]], 5); // [1, 0]
 */
export function chooseWithin(groups: readonly (readonly Choice[])[], budget: number): number[] | undefined {
  const cheapest = groups.reduce((sum, group) => sum + Math.min(...group.map(({ cost }) => cost)), 0);
  if (!(cheapest <= budget)) return undefined;
  const rests = relaxations(groups);
  let best = Infinity;
  let states: State[] = [{ cost: 0, loss: 0, before: undefined, choice: -1 }];
  // Sums of the same numbers in another order differ in the last bits: what is found in one must not be missed in another.
  const ceiling = budget * (1 + 1e-13);
  const slack = 1e-12 * groups.reduce((sum, group) => sum + Math.max(...group.map(({ loss }) => Math.abs(loss))), 0);
  for (const [g, group] of groups.entries()) {
    const next: State[] = [];
    const rest = rests[g + 1]!;
    for (const before of states)
      for (const [choice, { cost, loss }] of group.entries()) {
        const sum = { cost: before.cost + cost, loss: before.loss + loss, before, choice };
        if (sum.cost + rest.cost > ceiling) continue;
        next.push(sum);
      }
    for (const { cost, loss } of next) best = Math.min(best, loss + rest.within(budget - cost).rounded);
    states = undominated(next).filter(({ cost, loss }) => loss + rest.within(ceiling - cost).bound <= best + slack);
  }
  let found = states.reduce<State | undefined>((a, b) => (a !== undefined && a.loss <= b.loss ? a : b), undefined);
  const choices: number[] = [];
  for (; found?.before !== undefined; found = found.before) choices.unshift(found.choice);
  return choices;
}

/** States of which none takes as much and loses as much as another. */
function undominated(states: State[]): State[] {
  states.sort((a, b) => a.cost - b.cost || a.loss - b.loss);
  let least = Infinity;
  return states.filter(({ loss }) => {
    if (loss >= least) return false;
    least = loss;
    return true;
  });
}

/** What the groups from one on lose at least, and what a solution loses, within a budget of their own. */
interface Relaxation {
  /** The least they cost. */
  readonly cost: number;
  within(budget: number): { readonly bound: number; readonly rounded: number };
}

/** For every group the relaxation of it and those that follow; the last is of none. */
function relaxations(groups: readonly (readonly Choice[])[]): Relaxation[] {
  const steps: { cost: number; loss: number }[] = [];
  let [cost, loss] = [0, 0];
  const out: Relaxation[] = [relaxation(0, 0, [])];
  for (const group of groups.toReversed()) {
    const hull = hullOf(group);
    cost += hull[0]!.cost;
    loss += hull[0]!.loss;
    for (let i = 1; i < hull.length; i++)
      steps.push({ cost: hull[i]!.cost - hull[i - 1]!.cost, loss: hull[i]!.loss - hull[i - 1]!.loss });
    out.unshift(relaxation(cost, loss, steps));
  }
  return out;
}

/** Steps down the hulls of all groups, the steepest first: whole ones give a solution, a part of the last the bound. */
function relaxation(cost: number, loss: number, steps: readonly Choice[]): Relaxation {
  const sorted = [...steps].sort((a, b) => a.loss / a.cost - b.loss / b.cost);
  const [costs, losses] = [[cost], [loss]];
  for (const step of sorted) {
    costs.push(costs.at(-1)! + step.cost);
    losses.push(losses.at(-1)! + step.loss);
  }
  return {
    cost,
    within(budget) {
      let [low, high] = [0, costs.length - 1];
      while (low < high) {
        const middle = Math.ceil((low + high) / 2);
        if (costs[middle]! <= budget) low = middle;
        else high = middle - 1;
      }
      if (costs[low]! > budget) return { bound: loss, rounded: Infinity };
      const step = sorted[low];
      const part = step === undefined ? 0 : ((budget - costs[low]!) / step.cost) * step.loss;
      return { bound: losses[low]! + part, rounded: losses[low]! };
    },
  };
}

/** The lower convex hull of a group's choices, from the cheapest to the one that loses least. */
function hullOf(group: readonly Choice[]): Choice[] {
  const hull: Choice[] = [];
  for (const choice of [...group].sort((a, b) => a.cost - b.cost || a.loss - b.loss)) {
    if (hull.length > 0 && choice.loss >= hull.at(-1)!.loss) continue;
    while (hull.length > 1) {
      const [a, b] = [hull.at(-2)!, hull.at(-1)!];
      if ((b.loss - a.loss) * (choice.cost - b.cost) < (choice.loss - b.loss) * (b.cost - a.cost)) break;
      hull.pop();
    }
    hull.push(choice);
  }
  return hull;
}
