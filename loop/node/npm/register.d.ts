/** Preloaded by `node --import loopscope/register app.js`: watches every loop of the process. */
export {};
