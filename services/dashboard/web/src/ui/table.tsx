// A plain table from a list of columns, which scrolls sideways where the screen is too narrow.

import type { ComponentChildren } from 'preact';

export interface Column<T> {
  title: string;
  /** Numbers stand to the right. */
  number?: boolean;
  /** What a row is called: its cell is the row's heading. */
  heads?: boolean;
  class?: (row: T) => string;
  cell: (row: T) => ComponentChildren;
}

interface Props<T> {
  columns: Column<T>[];
  rows: readonly T[];
  keyOf: (row: T) => string;
  class?: string;
}

export function Table<T>({ columns, rows, keyOf, class: className = '' }: Props<T>) {
  return (
    <div class="scroll-x">
      <table class={className}>
        <thead>
          <tr>
            {columns.map(({ title, number }) => (
              <th scope="col" class={number ? 'right' : ''} key={title}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map((column) =>
                column.heads ? (
                  <th scope="row" key={column.title}>
                    {column.cell(row)}
                  </th>
                ) : (
                  <td class={`${column.number ? 'num right' : ''} ${column.class?.(row) ?? ''}`} key={column.title}>
                    {column.cell(row)}
                  </td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
