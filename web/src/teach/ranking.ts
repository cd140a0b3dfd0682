/** One answer in the order from best to worst: its number as shown, and whether it shares the place of the one above. */
export interface Placed {
  answer: number;
  tied: boolean;
}

export type Order = Placed[];

export function asShown(n: number): Order {
  return Array.from({ length: n }, (_, answer) => ({ answer, tied: false }));
}

/** Competition ranks in the shown order: 1 is best; ties share a place and use up those after it. */
export function ranksOf(order: Order): number[] {
  const ranks = new Array<number>(order.length);
  placesOf(order).forEach((place, index) => {
    ranks[order[index]!.answer] = place;
  });
  return ranks;
}

/** The place of each answer from the top of the order down. */
export function placesOf(order: Order): number[] {
  let place = 1;
  return order.map(({ tied }, index) => {
    if (index > 0 && !tied) place = index + 1;
    return place;
  });
}

export function orderOf(ranks: number[]): Order {
  const answers = ranks.map((_, answer) => answer).sort((a, b) => ranks[a]! - ranks[b]!);
  return answers.map((answer, index) => ({
    answer,
    tied: index > 0 && ranks[answer] === ranks[answers[index - 1]!],
  }));
}

/** Takes the answer at `from` out of its tie and puts it at `to`; the others keep their ties. */
export function move(order: Order, from: number, to: number): Order {
  if (to < 0 || to >= order.length || from === to) return order;
  const rest = order.filter((_, index) => index !== from).map((placed) => ({ ...placed }));
  // The one below took the place of the moved one: it begins a group, unless both hung on one above.
  const below = rest[from];
  if (below && !order[from]!.tied) below.tied = false;
  const inside = rest[to]?.tied ?? false;
  rest.splice(to, 0, { answer: order[from]!.answer, tied: inside });
  rest[0]!.tied = false;
  return rest;
}

/** Ties the answer at `at` with the one above it, or parts them. */
export function toggleTie(order: Order, at: number): Order {
  if (at === 0) return order;
  return order.map((placed, index) => (index === at ? { ...placed, tied: !placed.tied } : placed));
}

export const letter = (answer: number) => String.fromCharCode(65 + answer);
