/**
 * The names closest to a mistyped one, nearest first: those within `within` edits of it, at most `count`. A name that only
 * goes on after it is half an edit further than its beginning.
 */
export function nearestNames(name: string, names: Iterable<string>, { within = 3, count = 1 } = {}): string[] {
  const beginning = (candidate: string) =>
    name.length < 4 || candidate.length <= name.length
      ? Infinity
      : 0.5 + Math.min(...[-1, 0, 1].map((more) => editDistance(name, candidate.slice(0, name.length + more))));
  return Array.from(names, (candidate) => ({
    candidate,
    distance: Math.min(editDistance(name, candidate), beginning(candidate)),
  }))
    .filter(({ distance }) => distance <= within)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, count)
    .map(({ candidate }) => candidate);
}

/** How many letters must be put in, left out or changed to make one word of another (Levenshtein 1966). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length] ?? 0;
}
