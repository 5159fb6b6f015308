import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { InputError } from '../../src/errors.ts'
import { readEvaluation } from '../../src/eval/read.ts'
import type { EvalReport } from '../../src/eval/types.ts'
import { readJson } from '../../src/files.ts'
import { PRESET_NAMES, type PresetName } from '../../src/train/presets.ts'
import type { StudyReport } from '../study/summary.ts'

/** What is known of the models' quality. What was not measured is missing. */
export interface Quality {
  /** Evaluations of the shipped models, one training each. */
  shipped: { preset: PresetName; report: EvalReport }[]
  study: StudyReport | null
  /** The study on a corpus with facts. */
  factsStudy?: StudyReport | null
}

/**
 * Reads `eval-<preset>.json`, `study.json` and `study-facts.json` of a folder.
 * @throws InputError where there is none of them, one cannot be read, or the evaluations are not of the same texts
 */
export function readQuality(folder: string): Quality {
  const shipped = PRESET_NAMES.flatMap((preset) => {
    const file = join(folder, `eval-${preset}.json`)
    return existsSync(file) ? [{ preset, report: readEvaluation(file) }] : []
  })
  const [study, factsStudy] = ['study.json', 'study-facts.json']
    .map((name) => join(folder, name))
    .map((file) => (existsSync(file) ? readStudy(file) : null))
  if (shipped.length === 0 && study === null && factsStudy === null)
    throw new InputError(
      `${folder}: has neither study.json, study-facts.json nor an eval-<model>.json to draw`,
    )
  const drawn = shipped.map(
    ({ report: { split, samples, seed, domains } }) => `${split}, ${samples}, ${seed}, ${domains}`,
  )
  const other = drawn.findIndex((texts) => texts !== drawn[0])
  if (other > 0)
    throw new InputError(
      `${folder}: eval-${shipped[other].preset}.json is of other texts (${drawn[other]}) than eval-${shipped[0].preset}.json (${drawn[0]})`,
    )
  return { shipped, study, factsStudy }
}

function readStudy(file: string): StudyReport {
  const report = readJson(file, InputError) as StudyReport
  if (report?.format !== 'tinymoe-study' || report.version !== 1)
    throw new InputError(`${file}: is no tinymoe-study of version 1`)
  return report
}
