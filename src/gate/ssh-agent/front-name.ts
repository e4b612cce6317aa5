/** What policies and notes call this front. */
export const FRONT = "ssh-agent";
