/** Dates as Python's strftime writes them, as far as chat templates use it; local time, English. */

export type Clock = () => Date;

const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];
const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

const two = (n: number): string => String(n).padStart(2, '0');

/** Codes that it does not know stay as they are. */
export function strftime(format: string, now: Clock = () => new Date()): string {
  const date = now();
  const month = MONTHS[date.getMonth()] ?? '';
  const day = DAYS[date.getDay()] ?? '';
  const codes: Readonly<Record<string, string>> = {
    '%Y': String(date.getFullYear()),
    '%y': two(date.getFullYear() % 100),
    '%m': two(date.getMonth() + 1),
    '%d': two(date.getDate()),
    '%B': month,
    '%b': month.slice(0, 3),
    '%A': day,
    '%a': day.slice(0, 3),
    '%H': two(date.getHours()),
    '%I': two(date.getHours() % 12 || 12),
    '%p': date.getHours() < 12 ? 'AM' : 'PM',
    '%M': two(date.getMinutes()),
    '%S': two(date.getSeconds()),
    '%%': '%',
  };
  return format.replace(/%[A-Za-z%]/g, (code) => codes[code] ?? code);
}
