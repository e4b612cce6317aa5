/** One thing that tells this host from others. */
export interface HostComponent {
  readonly name: string;
  readonly title: string;
  readonly value: Uint8Array;
  readonly default: "hard" | "soft";
}
