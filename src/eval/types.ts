/** What an evaluation tells, each part typed by what makes it. */

export type { FormsPooled } from './answers.ts'
export type { DisabledLoss } from './disabled.ts'
export type { ByDomain, EvalSplit } from './domains.ts'
export type { ExpertsReport, LayerExperts } from './experts.ts'
export type { FactExpertsReport } from './fact-experts.ts'
export type { FactsKnown, FactsReport } from './facts.ts'
export type { DomainLoss, LossReport } from './loss.ts'
export type { CostReport, EvalConditions, EvalModel, EvalReport } from './run.ts'
export type { ExpertLoad, TypicalToken } from './specialisation.ts'
export type { SpeedReport, Timing } from './speed.ts'
