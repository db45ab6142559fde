/**
 * Cuts a migration into its statements, for a server that must run each in a transaction of its own (`CREATE INDEX
 * CONCURRENTLY` refuses to run beside others). Knows what migrations hold: quoted text, quoted names, dollar quotes, and
 * both kinds of comment. It does not know backslash escapes (`E'\''`).
 */
export function splitStatements(sql: string): string[] {
  const statements: string[] = [];
  let start = 0;
  // Alternatives in which a semicolon means nothing come first; block comments do not nest here.
  const token = /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|(\$\w*\$)[\s\S]*?\1|(;)/g;
  for (const match of sql.matchAll(token)) {
    if (match[2] === undefined) continue;
    statements.push(sql.slice(start, match.index));
    start = match.index + 1;
  }
  statements.push(sql.slice(start));
  return statements
    .map((statement) => statement.trim())
    .filter((statement) => /^(?!--)\S/m.test(withoutComments(statement)));
}

const withoutComments = (sql: string): string => sql.replace(/--[^\n]*|\/\*[\s\S]*?\*\//g, '').trim();
