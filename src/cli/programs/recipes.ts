/** Every program `thornkey use` knows, by the name it is asked for with. */
import { apache, curl, nginx, openssl } from "./openssl.ts";
import type { Recipe } from "./recipe.ts";

export const RECIPES: { readonly [program: string]: Recipe } = {
  openssl,
  curl,
  nginx,
  apache,
};
