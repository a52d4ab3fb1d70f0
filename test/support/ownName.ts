import { registerHooks } from 'node:module';

// Examples name the package as its users do.
const source = new URL('../../src/index.ts', import.meta.url).href;

registerHooks({
  resolve: (specifier, context, next) =>
    next(specifier === 'perdure' ? source : specifier, context),
});
