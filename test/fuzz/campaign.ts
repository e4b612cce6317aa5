export interface Campaign {
  readonly frames: number;
  readonly answered: number;
  /** Connections that the front ended. */
  readonly ended: number;
}
