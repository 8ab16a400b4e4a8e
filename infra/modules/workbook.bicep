// What an operator looks at: infra/workbook.json, over the logs of the app.
param location string
param tags object
param insightsId string

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(insightsId, 'rollover')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Rollover'
    category: 'workbook'
    sourceId: insightsId
    serializedData: loadTextContent('../workbook.json')
  }
}
