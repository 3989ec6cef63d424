// Counts of latents by the power of ten of their density, from the rarest that fires to 1.
"use strict";

// densityBins([0.01, …], 6) = {edges of log10, counts}, six bins a power of ten
saejax.densityBins = (densities, perDecade) => {
  const logs = densities.filter((d) => d > 0).map(Math.log10);
  const low = Math.floor(logs.reduce((a, b) => Math.min(a, b), -1));
  const counts = new Array(-low * perDecade).fill(0);
  for (const value of logs) counts[Math.min(Math.floor((value - low) * perDecade), counts.length - 1)] += 1;
  return { edges: Array.from({ length: counts.length + 1 }, (_, i) => low + i / perDecade), counts };
};
