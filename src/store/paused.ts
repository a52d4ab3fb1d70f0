/** The row is of no paused family. Nearly nobody is paused, and those who are have an index of their own. */
export const NOT_PAUSED = (row: string) =>
  `NOT EXISTS (SELECT FROM actor root WHERE root.paused_at IS NOT NULL
                AND root.type = ${row}.type AND root.id = split_part(${row}.id, '.', 1))`;
