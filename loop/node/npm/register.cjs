'use strict';
// node --require loopscope/register app.js: watches every loop of the process, without a change to the program.
require('./index.cjs').start();
